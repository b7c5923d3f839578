"""No circle of files: among the modules that one owner declares, each taken with all below it, references form none.

An owner and what it declares may know each other; that is what a folder is. So a circle is looked for among siblings.
"""

from .finding import Finding


def siblings(crate):
    """What refers to what among the modules that one owner declares, each taken with all below it.

    A dict of the owner's path to one of source to one of target to the first reference.
    """
    edges = {}
    for reference in crate.references():
        source, target = reference.source, reference.target
        shared = 0
        while shared < min(len(source), len(target)) and source[shared] == target[shared]:
            shared += 1
        if shared < len(source) and shared < len(target):
            owner = edges.setdefault(source[:shared], {})
            owner.setdefault(source[shared], {}).setdefault(target[shared], reference)
    return edges


def circles(crate):
    """The circles of a `modules.Crate`, one finding each."""
    found = []
    for owner, graph in sorted(siblings(crate).items()):
        for group in _strong(graph):
            steps = _one_circle(graph, group)
            message = "a circle of files: " + ", ".join(
                f"{_name(owner, source)} uses {_name(owner, target)} ({at.file}:{at.line})"
                for source, target, at in steps
            )
            others = sorted(set(group) - {step[0] for step in steps})
            if others:
                message += "; in the same knot: " + ", ".join(others)
            first = steps[0][2]
            found.append(Finding("circle", first.file, first.line, message))
    return found


def _name(owner, child):
    return "::".join(owner + (child,))


def _strong(graph):
    """The strongly connected groups of two or more, by Tarjan's algorithm without recursion."""
    index, low, stack, on_stack, groups = {}, {}, [], set(), []
    for start in sorted(graph):
        if start in index:
            continue
        work = [(start, iter(sorted(graph.get(start, ()))))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(sorted(graph.get(target, ())))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while not group or group[-1] != node:
                        group.append(stack.pop())
                        on_stack.discard(group[-1])
                    if len(group) > 1:
                        groups.append(sorted(group))
    return groups


def _one_circle(graph, group):
    """A shortest circle from the group's first node, as (source, target, reference)."""
    start, inside = group[0], set(group)
    before, queue = {}, [start]
    for node in queue:
        for target in sorted(graph.get(node, ())):
            if target == start:
                steps = [(node, start)]
                while node != start:
                    steps.append((before[node], node))
                    node = before[node]
                return [(source, end, graph[source][end]) for source, end in reversed(steps)]
            if target in inside and target not in before:
                before[target] = node
                queue.append(target)
    raise AssertionError("a strongly connected group has a circle through each of its nodes")
