"""What a person finds on a page, and what it is made of."""

from __future__ import annotations

from html.parser import HTMLParser

from fastapi.testclient import TestClient

Element = tuple[str, dict[str, str | None]]
"""An element's name and its attributes."""


class Page(HTMLParser):
    """What a page is made of.

    :param parts: each piece of text, with the elements around it.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.parts: list[tuple[str, list[Element]]] = []
        self._around: list[Element] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.parts.append((data, list(self._around)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._around.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        # Elements without an end, such as inputs, are around nothing.
        names = [name for name, _ in self._around]
        del self._around[len(names) - 1 - names[::-1].index(tag) :]


def shown(client: TestClient, address: str, status: int = 200) -> str:
    """Return what a person reads of a page that is answered with a status."""
    answer = client.get(address)
    assert answer.status_code == status, text_of(answer.text)
    return text_of(answer.text)


def links_of(html: str) -> list[str]:
    """Return where the links of a page lead."""
    return [str(one["href"]) for one in elements_of(html, "a") if "href" in one]


def text_of(html: str) -> str:
    """Return what a person reads of a page."""
    return " ".join(" ".join(text for text, _ in Page(html).parts).split())


def texts_of(html: str) -> list[tuple[str, list[Element]]]:
    """Return each piece of text of a page, with the elements around it."""
    return Page(html).parts


def elements_of(html: str, name: str) -> list[dict[str, str | None]]:
    """Return the attributes of all elements of a name."""
    return [attributes for tag, attributes in Page(html).elements if tag == name]
