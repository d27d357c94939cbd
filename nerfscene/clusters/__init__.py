"""The same work on the machines of a Ray cluster: trainings, films in parts, and any other run.

In: functions with their arguments, and the address of a cluster.
Out: what they return; what the process of each says on the way; what was lost is begun again.
Read first: ``connecting.py``.
"""
