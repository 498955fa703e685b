"""What can be wrong with a template. The deployment provider turns it into ARM's answer.

TemplateError      the template or its parameters are invalid; `path` says where
Needed             not an error: a value that only the running deployment can fetch
"""

from dataclasses import dataclass


class TemplateError(Exception):
    """`path` is where in the request, as Newtonsoft writes paths; {at} in the text becomes its line
    and column.
    """

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.path = path


@dataclass(frozen=True)
class Lookup:
    """What `reference` and `list*` ask Azure for."""

    method: str
    path: str
    version: str
    body: str = ""


class Needed(Exception):
    """Raised by an evaluation that needs the answer to `request`. The caller asks, keeps the answer
    and evaluates again.
    """

    def __init__(self, request: Lookup) -> None:
        super().__init__(request.path)
        self.request = request
