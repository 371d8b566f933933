"""SubstraFL's compute plans on this infrastructure, which is no Substra network: what their tools share.

The server makes a plan and executes it with the SDK; a task of it that needs data is done by its host, by the function
of the tool's signed source. Numbers alone go over the connection, as JSON (:mod:`rounds.serving`). Each tool carries a
copy in its source, since that is signed: scripts/copy-library puts it there.
"""
