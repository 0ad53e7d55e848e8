"""Who paid whom: payments as a directed multigraph in time order, and what its shapes say."""
