"""The numbers of AMQP's classes and methods, and what a method that comes in carries."""

from collections import namedtuple

#: A method that comes in: its numbers, the letters of its arguments, whether a message follows.
method_t = namedtuple("method_t", ("method_sig", "args", "content"))


def method(method_sig, args=None, content=False):
    """A :class:`method_t`."""
    return method_t(method_sig, args, content)


def _class(name, number, **methods):
    names = {"CLASS_ID": number, "__doc__": f"The methods of the class {name.lower()}.", "__module__": __name__}
    return type(name, (), names | {method: (number, value) for method, value in methods.items()})


Connection = _class(
    "Connection", 10,
    Start=10, StartOk=11, Secure=20, SecureOk=21, Tune=30, TuneOk=31, Open=40, OpenOk=41, Close=50, CloseOk=51,
    Blocked=60, Unblocked=61,
)  # fmt: skip
Channel = _class("Channel", 20, Open=10, OpenOk=11, Flow=20, FlowOk=21, Close=40, CloseOk=41)
Exchange = _class(
    "Exchange", 40, Declare=10, DeclareOk=11, Delete=20, DeleteOk=21, Bind=30, BindOk=31, Unbind=40, UnbindOk=51
)
Queue = _class(
    "Queue", 50,
    Declare=10, DeclareOk=11, Bind=20, BindOk=21, Purge=30, PurgeOk=31, Delete=40, DeleteOk=41, Unbind=50, UnbindOk=51,
)  # fmt: skip
Basic = _class(
    "Basic", 60,
    Qos=10, QosOk=11, Consume=20, ConsumeOk=21, Cancel=30, CancelOk=31, Publish=40, Return=50, Deliver=60, Get=70,
    GetOk=71, GetEmpty=72, Ack=80, Nack=120, Reject=90, RecoverAsync=100, Recover=110, RecoverOk=111,
)  # fmt: skip
Confirm = _class("Confirm", 85, Select=10, SelectOk=11)
Tx = _class("Tx", 90, Select=10, SelectOk=11, Commit=20, CommitOk=21, Rollback=30, RollbackOk=31)
