"""What the events say in numbers: so far KPIs, each defined by one file of the contract."""
