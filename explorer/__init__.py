"""The MoE Routing Explorer. Data flows one way:

config -> corpus -> model (router, balancers, experts) -> training -> recording (run folder)
       -> store (DuckDB) -> queries -> charts -> ui and pages

Importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
