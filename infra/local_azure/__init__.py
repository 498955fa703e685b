"""A stand-in for Azure on loopback. It shares no code with the reconciler; the two meet over HTTPS.

A request goes one way, from the top to the bottom of this drawing. Imports do too, and
`lint-imports` holds them to it.

    __main__, lifecycle   the command: start, stop, status, journal, faults
    server                the HTTPS port, and which plane a request belongs to
    assembly              builds every part once and gives it to those that need it
    providers/            one file for each resource type: its shapes and its verbs
    logstream             the log host: consoles and system events
    ingress/              a process of its own that proxies to the replicas
    faults/               scripted misbehaviour, given to arm, files and control at their hooks
    control/              the state machines: apps, jobs, mounts, quotas, records, long writes
    files/                Azure Files: the data plane, shares and their folders
    runtime/              replicas and executions as processes, each under a shim
    arm/                  the way of an ARM request: front, authority, limits, parsing, routing,
                          call, reply; long-running operations and how clients poll them
    login, templates/     Entra ID; the expression language of deployments
    smb/                  a share as SMB shows it
    store, changes        what this Azure knows, and notifications of changes

An ARM request: parse the path, find out who calls, take from the limits, find the handler, read the
body by its shape, call the handler, make the reply. `arm.front` has these steps in this order.

To add a resource type, write its file in `providers/` and its line in `providers/catalogue.py`.
"""
