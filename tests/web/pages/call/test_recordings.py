"""Which addresses of recordings a page plays, and from where."""

from __future__ import annotations

import pytest

from airflow_provider_voiceinfra.web.pages.call.recordings import origin_of


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://recordings.example/calls/a.wav", "https://recordings.example"),
        ("HTTPS://Recordings.Example:8443/a.wav?sig=a%2Bb&x=[1]#t", "https://recordings.example:8443"),
        ("http://127.0.0.1:8700/recordings/call_1.wav", "http://127.0.0.1:8700"),
        ("https://recordings.example", "https://recordings.example"),
        ("https://recordings.example?a=//user:pass@other.example", "https://recordings.example"),
    ],
)
def test_plain_web_address_is_played_from_its_origin_alone(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)//https://recordings.example",
        " javascript:alert(1)",
        "data:audio/wav;base64,AAAA",
        "blob:https://recordings.example/1",
        "file:///etc/passwd",
        "ftp://recordings.example/a.wav",
        "//recordings.example/a.wav",
        "/calls.csv",
        "calls.csv",
        "https://user:password@recordings.example/a.wav",
        "https://user@recordings.example/a.wav",
        "https://recordings.example\\@other.example/a.wav",
        "https:\\\\recordings.example/a.wav",
        "https://*/a.wav",
        "https://*.example/a.wav",
        "https://recordings.example:*/a.wav",
        "https://recordings.example; script-src 'unsafe-inline'/a.wav",
        "https://recordings.example,https://other.example/a.wav",
        "https://recordings.example /a.wav",
        "https://recordings.example/a.wav\nhttps://other.example",
        "https://recordings.example/a.wav\r\nSet-Cookie: a=b",
        'https://recordings.example/"><script>alert(1)</script>',
        "https:// /a.wav",
        "https:///a.wav",
        "https://",
        "",
        "  ",
        "https://recordings.example/" + "a" * 5000,
        "https://\u0440ecordings.example/a.wav",
        "https://recordings.example/\u202ea.wav",
    ],
)
def test_any_other_address_is_neither_played_nor_followed(address: str) -> None:
    assert origin_of(address) is None
