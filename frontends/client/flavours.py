"""Turn an operation, written once, into the methods of both clients: `client.info()` and `await client.info()`.

They raise Invalid for an argument that is not what its annotation says, when they are called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ..wire import messages as m
from .core import Core
from .given import ARGUMENTS
from .steps import Steps, Stream, call

P = ParamSpec("P")
T = TypeVar("T")


class Flavour:
    """The attributes that operations find in their `self`.

    Attributes:
        _core: the core of the connection.
        _timeout_s: the longest wait for an answer, in seconds.
    """

    _core: Core
    _timeout_s: float

    def _welcome(self) -> Steps[m.Welcome]:
        """Return what the server has said of itself, once it has."""
        while (welcome := self._core.welcome) is None:
            yield from call(self._core, m.Ping(), m.Pong, self._timeout_s)
        return welcome


class Blocking(Flavour):
    """The flavour whose operations return their result."""

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def _iterate(self, stream: Stream[T]) -> Iterator[T]:
        raise NotImplementedError


class Awaiting(Flavour):
    """The flavour whose operations return an awaitable."""

    async def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def _iterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        raise NotImplementedError


class operation(Generic[P, T]):
    """A descriptor that turns a method, which is a generator of steps, into a call."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self._steps, self._read = steps, ARGUMENTS.reader(steps)
        self.__doc__ = steps.__doc__
        self.__wrapped__ = steps  # for `inspect` and `help`

    @overload
    def __get__(self, instance: None, owner: Any) -> operation[P, T]: ...
    @overload
    def __get__(self, instance: Blocking, owner: Any) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: Any) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        bound = MethodType(self._steps, instance)

        @wraps(bound)
        def method(*values: Any, **named: Any) -> Any:
            read = self._read(instance, *values, **named)
            return instance._run(self._steps(*read.args, **read.kwargs))

        return method


class waited(Generic[T]):
    """A descriptor of a property that may have to wait: `client.server`, or `await client.server`."""

    def __init__(self, steps: Callable[[Any], Steps[T]]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, instance: None, owner: Any) -> waited[T]: ...
    @overload
    def __get__(self, instance: Blocking, owner: Any) -> T: ...
    @overload
    def __get__(self, instance: Awaiting, owner: Any) -> Coroutine[Any, Any, T]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else instance._run(self._steps(instance))


class stream(Generic[P, T]):
    """A descriptor of a method that returns an iterator: `for event in job.events()`, or `async for`."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Stream[T]]) -> None:
        self._steps, self._read = steps, ARGUMENTS.reader(steps)
        self.__doc__ = steps.__doc__
        self.__wrapped__ = steps

    @overload
    def __get__(self, instance: None, owner: Any) -> stream[P, T]: ...
    @overload
    def __get__(self, instance: Blocking, owner: Any) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: Any) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        bound = MethodType(self._steps, instance)

        @wraps(bound)
        def method(*values: Any, **named: Any) -> Any:
            read = self._read(instance, *values, **named)
            return instance._iterate(self._steps(*read.args, **read.kwargs))

        return method
