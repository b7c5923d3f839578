"""subprocess and the functions of os that wait for children and pipes."""

import unittest

from scenario import Scenario

PATCHED = """
import eventlet
eventlet.monkey_patch()
import os, subprocess
from subprocess import PIPE

def child(code):
    return [sys.executable, "-S", "-c", code]
"""


class Green(Scenario):
    def check(self, program, *options, **settings):
        import textwrap

        super().check(PATCHED + textwrap.dedent(program), *options, **settings)


class Children(Green):
    def test_waiting_lets_others_run(self):
        self.check(
            """
            count = ticks()
            for wait in (lambda p: p.wait(), lambda p: p.wait(5), lambda p: p.wait(check_interval=0.1),
                         lambda p: p.communicate()):
                before = count[0]
                process = subprocess.Popen(["sleep", "0.2"])
                assert process.poll() is None
                wait(process)
                assert process.returncode == 0 and count[0] - before > 10, count[0] - before
            """
        )

    def test_the_end_is_noticed_at_once(self):
        self.check(
            """
            processes = [subprocess.Popen(["true"]) for _ in range(5)]
            begin = monotonic()
            for process in processes:
                process.wait()
            process = subprocess.Popen(["sleep", "5"])
            eventlet.spawn_after(0.05, process.kill)
            begin = monotonic()
            assert process.wait() == -9 and monotonic() - begin < 3
            """
        )

    def test_timeouts(self):
        self.check(
            """
            process = subprocess.Popen(["sleep", "5"], stdout=PIPE)
            for call in (process.wait, lambda timeout: process.communicate(timeout=timeout)):
                begin = monotonic()
                try:
                    call(timeout=0.1)
                except subprocess.TimeoutExpired as error:
                    print(error.timeout, 0.1 <= monotonic() - begin < 3)
            with eventlet.Timeout(0.1, False):
                process.wait()
            process.kill()
            assert process.wait() == -9
            try:
                subprocess.run(["sleep", "5"], timeout=0.1)
            except subprocess.TimeoutExpired:
                print("run")
            """,
            prints="0.1 True\n0.1 True\nrun\n",
        )

    def test_several_wait_for_one(self):
        self.check(
            """
            process = subprocess.Popen(["sleep", "0.1"])
            waiting = [eventlet.spawn(process.wait) for _ in range(3)]
            assert [each.wait() for each in waiting] == [0, 0, 0]
            """
        )

    def test_much_data_both_ways(self):
        self.check(
            """
            data = os.urandom(3_000_000)
            count = ticks()
            process = subprocess.Popen(["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
            output, errors = process.communicate(data)
            assert output == data and errors == b"" and process.returncode == 0
            assert subprocess.run(["cat"], input=data, stdout=PIPE).stdout == data
            assert subprocess.check_output(["cat"], input=data) == data
            """
        )

    def test_text(self):
        self.check(
            """
            process = subprocess.Popen(["cat"], stdin=PIPE, stdout=PIPE, encoding="utf-16", bufsize=1)
            assert process.stdin.encoding == "utf-16"
            assert process.communicate("häuser\\nund\\n") == ("häuser\\nund\\n", None)
            process = subprocess.Popen(["cat"], stdin=PIPE, stdout=PIPE, text=True, bufsize=1)
            for i in range(3):
                process.stdin.write(f"line {i}\\n")
                assert process.stdout.readline() == f"line {i}\\n"
            process.stdin.close()
            assert process.stdout.read() == "" and process.wait() == 0
            process.stdout.close()
            assert subprocess.getoutput("echo a; echo b >&2") == "a\\nb"
            assert subprocess.getstatusoutput("exit 3") == (3, "")
            """
        )

    def test_pipes_are_read_and_written_without_blocking(self):
        self.check(
            """
            slow = child("import sys, time\\nfor i in range(3):\\n time.sleep(.1); print(i, flush=True)")
            for settings in (dict(), dict(bufsize=0), dict(text=True)):
                count = ticks()
                with subprocess.Popen(slow, stdout=PIPE, **settings) as process:
                    assert [int(line) for line in process.stdout] == [0, 1, 2]
                assert count[0] > 15, (settings, count)
            count = ticks()
            process = subprocess.Popen(["sh", "-c", "sleep 0.3; cat > /dev/null"], stdin=PIPE, bufsize=0)
            written = 0
            while written < 300_000:
                written += process.stdin.write(bytes(100_000))
            process.stdin.close()
            assert process.wait() == 0 and count[0] > 15, count
            """
        )

    def test_the_module_is_one_for_those_who_replace_or_subclassed_parts_of_it(self):
        super(Green, self).check(
            """
            import subprocess
            before = subprocess.Popen
            class Early(subprocess.Popen):
                pass
            """
            + PATCHED.replace("\n", "\n            ")
            + """
            import unittest.mock
            from eventlet.green import subprocess as green
            assert subprocess.Popen is before is green.Popen and issubclass(Early, subprocess.Popen)
            count = ticks()
            assert Early(child("import time; time.sleep(0.3)")).wait(check_interval=1) == 0 and count[0] > 50
            with unittest.mock.patch("subprocess.Popen") as replaced:
                subprocess.call(["nothing"])
                replaced.assert_called_once()
            with unittest.mock.patch("subprocess.os.waitpid", side_effect=ChildProcessError) as replaced:
                assert subprocess.call(child("")) == 0
                assert replaced.called
            """
        )

    def test_errors_are_those_of_the_standard_library(self):
        super(Green, self).check(
            """
            from subprocess import CalledProcessError, CompletedProcess, SubprocessError, TimeoutExpired
            import eventlet
            from eventlet.green import subprocess as green
            eventlet.monkey_patch()
            import subprocess
            for module in (subprocess, green):
                assert module.TimeoutExpired is TimeoutExpired and module.SubprocessError is SubprocessError
                assert type(module.run(["true"])) is CompletedProcess
                for call in (module.check_call, module.check_output, lambda a: module.run(a, check=True)):
                    try:
                        call(["false"])
                    except CalledProcessError as error:
                        assert error.returncode == 1
                    else:
                        raise AssertionError
                assert module.call(["false"]) == 1
                try:
                    module.Popen(["/does/not/exist"])
                except FileNotFoundError:
                    pass
            assert isinstance(subprocess.Popen(["true"]), subprocess.Popen)
            """
        )

    def test_who_has_only_os_patched(self):
        super(Green, self).check(
            """
            import eventlet
            eventlet.monkey_patch(os=True)
            import os
            count = ticks()
            def waitid(pid):
                done = os.waitid(os.P_PID, pid, os.WEXITED)
                return done.si_pid, done.si_status
            waits = [lambda pid: os.waitpid(pid, 0), lambda pid: os.wait(), lambda pid: os.waitpid(-1, 0)]
            waits += [lambda pid: os.wait3(0)[:2], lambda pid: os.wait4(pid, 0)[:2], lambda pid: os.wait4(-1, 0)[:2]]
            for wait in [*waits, waitid]:
                pid = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "0.1")
                assert os.waitpid(pid, os.WNOHANG) == (0, 0)
                assert os.wait3(os.WNOHANG)[:2] == os.wait4(pid, os.WNOHANG)[:2] == (0, 0)
                assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is None
                before = count[0]
                assert wait(pid) == (pid, 0) and count[0] - before > 5
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                print("no child")
            """,
            prints="no child\n",
        )


class Files(Green):
    def test_reads_and_writes_of_pipes(self):
        self.check(
            """
            count = ticks()
            reader, writer = os.pipe()
            eventlet.spawn_after(0.1, os.write, writer, b"late")
            assert os.read(reader, 10) == b"late" and count[0] > 5, count
            # On a blocking file descriptor all of it is written, while others run and read.
            data = bytes(1_000_000)
            writing = eventlet.spawn(os.write, writer, data)
            got = 0
            while got < len(data):
                got += len(os.read(reader, 50_000))
            assert writing.wait() == len(data)
            try:
                os.write(writer, memoryview(data)[::2])
            except BufferError:
                pass
            else:
                raise AssertionError("C takes contiguous memory only")
            # On a non-blocking one it is what fits.
            os.set_blocking(writer, False)
            assert 0 < os.write(writer, data) < len(data)
            os.read(reader, len(data))
            os.close(writer)
            assert os.read(reader, 1) == b""
            reader, writer = os.pipe()
            os.close(reader)
            try:
                os.write(writer, b"x")
            except BrokenPipeError:
                print("BrokenPipeError")
            for misuse in (lambda: os.read(9999, 1), lambda: os.write(9999, b"")):
                try:
                    misuse()
                except OSError as error:
                    print(error.strerror)
            """,
            prints="BrokenPipeError\n" + "Bad file descriptor\n" * 2,
        )

    def test_regular_files_and_fdopen(self):
        self.check(
            """
            import pathlib, tempfile
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "file")
                path.write_text("abc")
                fd = os.open(path, os.O_RDWR)
                assert os.read(fd, 10) == b"abc" and os.read(fd, 10) == b"" and os.write(fd, b"def") == 3
                with os.fdopen(fd, "rb") as file:
                    file.seek(0)
                    assert file.read() == b"abcdef"
                directory = os.open(folder, os.O_RDONLY)
                assert os.read(os.open("file", os.O_RDONLY, dir_fd=directory), 3) == b"abc"
            try:
                os.fdopen("x")
            except TypeError:
                print("TypeError")
            """,
            prints="TypeError\n",
        )


if __name__ == "__main__":
    unittest.main()
