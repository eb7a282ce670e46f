"""`contract codegen`: its configuration, run by graphql-codegen over typed events, and compiled."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from gateway.cli.contract_api import codegen
from gateway.cli.contract_files import export
from tests.flow.conftest import ROOT
from tests.flow.projects import MODULES, finished, link_modules, needs_node

pytestmark = needs_node

SHOP = str(ROOT / "schema" / "shop")
QUERY = """
import { graphql } from "./gql/index";
export const orders = graphql(`query Orders($where: EventWhere!) {
  events(where: $where) { nodes { at ... on OrderCompletedEvent { orderCompleted { total products { quantity } } }
    ... on PromotionClickedEvent { promotionClicked { placement } } } }
}`);
export const send = graphql(`mutation Send($input: TrackInput!) { track(input: $input) { verdict } }`);
import type { OrdersQuery, SendMutationVariables } from "./gql/graphql";
export const sent: SendMutationVariables = { input: { events: [{ event: { cartViewed: {} } }] } };
export function total(found: OrdersQuery): number | null | undefined {
  const [first] = found.events.nodes;
  return first && "orderCompleted" in first ? first.orderCompleted?.total : null;
}
"""


async def test_a_code_generator_makes_types_of_the_plan(tmp_path: Path) -> None:
    link_modules(tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "orders.ts").write_text(QUERY)
    printed = CliRunner().invoke(codegen, [SHOP, "--schema", "schema.graphql"], catch_exceptions=False)
    (tmp_path / "codegen.ts").write_text(printed.stdout)
    schema = str(tmp_path / "schema.graphql")
    CliRunner().invoke(export, [SHOP, "--format", "sdl", "--output", schema], catch_exceptions=False)
    code, said = await finished(str(MODULES / ".bin" / "graphql-codegen"), folder=tmp_path)
    assert code == 0, said
    generated = (tmp_path / "src" / "gql" / "graphql.ts").read_text()
    assert "quantity: number | string | null" in generated
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "preserve", "--target", "es2022")
    code, said = await finished(str(MODULES / ".bin" / "tsc"), *options, "src/orders.ts", folder=tmp_path)
    assert code == 0, said
