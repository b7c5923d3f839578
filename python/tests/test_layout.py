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
%s
#include <Python.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {
%s
    return 0;
}
"""

STATE, FRAME = "PyThreadState", "_PyInterpreterFrame"


class Layout(unittest.TestCase):
    @unittest.skipUnless(shutil.which("cc"), "needs a C compiler to read the headers")
    def test_every_offset_is_that_of_the_headers(self):
        layout = _native._layout()
        self.assertGreater(len(layout), 8)
        # Frames are in internal headers.
        head = ""
        if any(name.startswith(FRAME) for name in layout):
            head = "#define Py_BUILD_CORE 1\n#include <Python.h>\n#include <internal/pycore_interpframe_structs.h>"
        lines = ""
        for name in layout:
            struct, field = (FRAME, name.removeprefix(FRAME + ".")) if name.startswith(FRAME) else (STATE, name)
            lines += f'    printf("{name} %zu\\n", offsetof({struct}, {field}));\n'
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "layout.c")
            program = os.path.join(folder, "layout")
            with open(source, "w") as file:
                file.write(PROGRAM % (head, lines))
            include = sysconfig.get_path("include")
            subprocess.run(["cc", "-I", include, source, "-o", program], check=True)
            printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        headers = {name: int(offset) for name, offset in (line.split() for line in printed.splitlines())}
        self.assertEqual(layout, headers)


if __name__ == "__main__":
    unittest.main()
