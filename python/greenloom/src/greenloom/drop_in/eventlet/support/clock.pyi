from collections.abc import Callable

monotonic: Callable[[], float]
