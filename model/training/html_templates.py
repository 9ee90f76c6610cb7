"""Loads the HTML templates of reports and galleries."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def load_template(name: str) -> Template:
    """Return a template, by file name; it escapes its values and raises if one is missing."""
    environment = Environment(
        loader=PackageLoader("mernet.model.training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _format_number
    return environment.get_template(name)


def _format_number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
