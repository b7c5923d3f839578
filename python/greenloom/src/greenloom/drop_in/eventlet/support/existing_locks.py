class Existing:
    def make_green(self): pass
