"""What was measured on each server: the worst of it."""

from collections.abc import Iterator

# What the name of a server ends with if its app is wrapped; the words say so.
WRAPPED = "-wrapped"

# Better ones first.
WORDS = ("yes", "with DrainMiddleware", "no")


class Results:
    """A table of servers and promises."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}
        self._words: dict[tuple[str, str], str] = {}

    def took(self, server: str, promise: str, figure: float) -> None:
        """Note a figure, of which the largest is kept."""
        key = server.removesuffix(WRAPPED), promise
        self._seconds[key] = max(figure, self._seconds.get(key, figure))

    def kept(self, server: str, promise: str, word: str) -> None:
        """Note how a promise is kept; one failure is enough for a "no"."""
        key = server.removesuffix(WRAPPED), promise
        self._words[key] = max(word, self._words.get(key, word), key=WORDS.index)

    def rows(self) -> Iterator[list[str]]:
        """A row for each server, with a column for each promise."""
        figures = {key: f"{figure:.2f}" for key, figure in self._seconds.items()}
        results = {**figures, **self._words}
        promises = sorted({promise for _, promise in results})
        yield ["server", *promises]
        for server in sorted({server for server, _ in results}):
            yield [server, *(results.get((server, promise), "") for promise in promises)]
