from greenlet import GreenletExit as GreenletExit, getcurrent as getcurrent, greenlet as greenlet
