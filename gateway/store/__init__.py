"""MongoDB, and nobody else speaks to it: the driver seam, the embedded server, and one repository per collection."""
