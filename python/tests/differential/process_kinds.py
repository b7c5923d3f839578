"""Children, and signals to oneself."""

import os
import signal
import subprocess
import time

from kinds import LONG, NAN, SHORT, Thing, kind, operation



@kind("child")
class Child(Thing):
    """One that copies its input to its output."""

    made_with = ((False, True),)

    def __init__(self, buffered):
        self.child = subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1 if buffered else 0
        )

    @operation((1, 100), line="write", weight=3)
    def write(self, count):
        count = self.child.stdin.write(self.payload(count))
        self.child.stdin.flush()
        return count

    @operation((1, 50), line="read", weight=3)
    def read(self, count):
        return len(self.child.stdout.read(count))

    @operation((1, 50), line="read")
    def os_read(self, count):
        return len(os.read(self.child.stdout.fileno(), 1))

    @operation((None, LONG, SHORT, 0, -1), line="wait", weight=3)
    def wait(self, timeout):
        return self.child.wait(timeout)

    @operation((NAN, "x"), line="wait")
    def wait_badly(self, timeout):
        return self.child.wait(timeout)

    @operation((None, LONG, SHORT), line="communicate", alone=True)
    def communicate(self, timeout):
        out, err = self.child.communicate(timeout=timeout)
        return len(out), err

    @operation(alone=True)
    def close_stdin(self):
        self.child.stdin.close()
        self.child.wait(0.2)

    @operation(("kill", "terminate", "send_signal"))
    def end(self, how):
        getattr(self.child, how)(*([signal.SIGHUP] if how == "send_signal" else []))
        time.sleep(0.03)

    @operation()
    def poll(self):
        return self.child.poll()

    @operation((0, 3), (False, True))
    def run(self, status, check):
        command = f"echo out; echo err >&2; cat; exit {status}"
        done = subprocess.run(command, shell=True, input=b"in", capture_output=True, check=check)
        return done.returncode, done.stdout, done.stderr

    @operation((100_000,))
    def run_with_much(self, count):
        done = subprocess.run(["cat"], input="x" * count, capture_output=True, text=True)
        return len(done.stdout), done.returncode

    @operation()
    def run_too_long(self):
        return subprocess.run(["sleep", "5"], timeout=SHORT)

    @operation()
    def run_what_is_not_there(self):
        return subprocess.run(["/nowhere/at/all"])

    @operation(("getoutput", "check_output", "call", "system", "popen"))
    def other_calls(self, call):
        if call == "popen":
            with os.popen("echo one; exit 3") as file:
                return file.read(), file.close()
        if call == "system":
            return os.system("exit 3")
        if call == "call":
            return subprocess.call(["sh", "-c", "exit 3"])
        if call == "getoutput":
            return subprocess.getoutput("echo one")
        return subprocess.check_output(["echo", "one"])

    @operation()
    def pipeline(self):
        one = subprocess.Popen(["sh", "-c", "echo a; echo b"], stdout=subprocess.PIPE)
        two = subprocess.Popen(["sort", "-r"], stdin=one.stdout, stdout=subprocess.PIPE)
        one.stdout.close()
        return two.communicate()[0], one.wait(), two.wait()

    @operation(("waitpid", "wait4", "waitid"))
    def fork_and(self, call):
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(told, b"x")
            os._exit(5)
        os.read(ready, 1), os.close(ready), os.close(told)
        if call == "waitid":
            return os.waitid(os.P_PID, child, os.WEXITED).si_status
        return os.waitstatus_to_exitcode(getattr(os, call)(child, 0)[1])

    @operation()
    def wait_for_no_child(self):
        try:
            return os.waitpid(2**22 - 1, 0)
        except ChildProcessError as error:
            return error.errno

    def state(self):
        return self.child.returncode


@kind("signals")
class Signals(Thing):
    def __init__(self):
        self.seen = []
        for number in (signal.SIGUSR1, signal.SIGALRM):
            signal.signal(number, self.handle)

    def handle(self, number, frame):
        self.seen.append((number, frame is not None))

    @operation(weight=2)
    def kill_oneself(self):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.02)
        return len(self.seen)

    @operation()
    def raise_signal(self):
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(0.02)
        return len(self.seen)

    @operation()
    def alarm(self):
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        time.sleep(0.1)
        return len(self.seen)

    @operation()
    def set_a_handler(self):
        return signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    @operation((0, 0.02))
    def sleep_through(self, after):
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(after, 0.01))
        time.sleep(0.1)
        return time.monotonic() - began > 0.09, len(self.seen)

    @operation((SHORT, 0))
    def sigtimedwait(self, timeout):
        return signal.sigtimedwait([signal.SIGUSR2], timeout)

    def state(self):
        return self.seen
