"""The committed layouts of the thread state against the headers of the interpreter that runs this."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest

from greenloom import _native

# Our name for a field that the headers of this version call otherwise would be in the layout itself.
PROGRAM = """
#include <Python.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {
%s
    return 0;
}
"""


class Layout(unittest.TestCase):
    @unittest.skipUnless(shutil.which("cc"), "needs a C compiler to read the headers")
    def test_every_offset_is_that_of_the_headers(self):
        layout = _native._layout()
        self.assertGreater(len(layout), 8)
        lines = "\n".join(
            f'    printf("{name} %zu\\n", offsetof(PyThreadState, {name}));' for name in layout
        )
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "layout.c")
            program = os.path.join(folder, "layout")
            with open(source, "w") as file:
                file.write(PROGRAM % lines)
            include = sysconfig.get_path("include")
            subprocess.run(["cc", "-I", include, source, "-o", program], check=True)
            printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        headers = {name: int(offset) for name, offset in (line.split() for line in printed.splitlines())}
        self.assertEqual(layout, headers)


if __name__ == "__main__":
    unittest.main()
