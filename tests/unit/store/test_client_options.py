"""What clients of MongoDB are made with."""

from __future__ import annotations

from gateway.store.client_options import client_options
from gateway.store.database import INSERT_SECONDS


def test_a_server_that_stands_still_is_noticed_while_an_insert_has_time_to_be_made_elsewhere() -> None:
    options = client_options("mongodb://db:27017/?replicaSet=rs0", ())
    noticed = options["heartbeatFrequencyMS"] + options["connectTimeoutMS"]
    assert noticed <= INSERT_SECONDS * 1000 / 2


def test_an_address_may_tune_what_it_waits_for_and_weaken_nothing() -> None:
    options = client_options("mongodb://db:27017/?heartbeatFrequencyMS=9000&w=1&journal=false", ())
    assert "heartbeatFrequencyMS" not in options
    assert options["w"] == "majority"
    assert options["journal"] is True
