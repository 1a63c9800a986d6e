"""Tests of the page of suppressions."""
