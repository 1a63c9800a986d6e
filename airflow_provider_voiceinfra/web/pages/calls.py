"""The page /ui/calls."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_provider_voiceinfra.web.pages.routes import PageRoute

router = APIRouter(route_class=PageRoute)
