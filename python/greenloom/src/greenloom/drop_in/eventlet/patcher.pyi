from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

__all__ = ["inject", "import_patched", "monkey_patch", "is_monkey_patched"]

already_patched: dict[str, bool]

class SysModulesSaver:
    def __init__(self, module_names: Iterable[str] = ()) -> None: ...
    def save(self, *module_names: str) -> None: ...
    def save_absent(self, *module_names: str) -> None: ...
    def restore(self) -> None: ...

# The modules' attributes are those of the module that was copied, which nobody knows here.
def inject(
    module_name: str, new_globals: dict[str, Any] | None, *additional_modules: tuple[str, ModuleType]
) -> Any: ...
def import_patched(
    module_name: str, *additional_modules: tuple[str, ModuleType], **kw_additional_modules: ModuleType
) -> Any: ...
def patch_function(func: _F, *additional_modules: tuple[str, ModuleType]) -> _F: ...
def original(modname: str) -> Any: ...
def monkey_patch(
    *,
    native: bool | Iterable[str] = ...,
    all: bool | None = ...,
    builtins: bool | None = ...,
    MySQLdb: bool | None = ...,
    os: bool | None = ...,
    psycopg: bool | None = ...,
    select: bool | None = ...,
    socket: bool | None = ...,
    subprocess: bool | None = ...,
    thread: bool | None = ...,
    time: bool | None = ...,
) -> None: ...
def is_monkey_patched(module: str | ModuleType) -> bool: ...
def slurp_properties(
    source: ModuleType,
    destination: dict[str, Any],
    ignore: Iterable[str] = (),
    srckeys: Iterable[str] | None = None,
) -> None: ...
