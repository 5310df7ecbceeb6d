"""One dock widget per tool."""
