"""SQLAlchemy's asyncio extension over aiosqlite: two hundred writes, then as many reads at once."""

import asyncio
import os
import tempfile

import greenlet
import sqlalchemy
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

assert hasattr(greenlet.greenlet, "_stack_size"), "this is stock greenlet"


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


async def main(path):
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    session = async_sessionmaker(engine)
    for number in range(200):
        async with session() as writing:
            writing.add(Item(name=f"item {number}"))
            await writing.commit()

    async def read(number):
        async with session() as reading:
            return (await reading.execute(select(Item).where(Item.id == number + 1))).scalar_one().name

    names = await asyncio.gather(*map(read, range(200)))
    assert names == [f"item {number}" for number in range(200)]
    await engine.dispose()


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(os.path.join(folder, "items.db")))
print("sqlalchemy", sqlalchemy.__version__, "works")
