"""A nameko service of one method: nameko run adder"""

from nameko.rpc import rpc


class Adder:
    name = "adder"

    @rpc
    def add(self, a, b):
        return a + b
