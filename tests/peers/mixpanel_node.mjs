// Every call of mixpanel for Node: `node mixpanel_node.mjs URL WRITE_KEY USER`. Fails on the first error the SDK reports.

import { promisify } from "node:util";

import Mixpanel from "mixpanel";

const [url, key, user] = process.argv.slice(2);
const { host } = new URL(url);
const silent = Object.fromEntries(["trace", "debug", "info", "warn", "error"].map((level) => [level, () => {}]));

for (const verbose of [false, true]) {
  const client = Mixpanel.init(key, { host, protocol: "http", key, verbose, logger: silent });
  const name = `${user}-${verbose}`;
  const track = promisify(client.track);
  await track("Product List Viewed", { distinct_id: `$device:${name}-device`, category: "lamps" });
  await track("Product Viewed", { distinct_id: name, $insert_id: `${name}-1`, time: new Date("2024-03-13T10:21:14Z") });
  await track("$identify", { distinct_id: name, $anon_id: `$device:${name}-device`, $identified_id: name });
  await promisify(client.alias)(`$device:${name}-phone`, name);
  await promisify(client.import)("Signed Up", new Date("2024-03-13T10:21:14Z"), { distinct_id: name });
  const several = [1, 2, 3].map((number) => ({ event: "Batched", properties: { distinct_id: name, number, text: "þ~~?>>>" } }));
  await promisify(client.track_batch)(structuredClone(several));
  const past = several.map(({ properties }) => ({
    event: "Imported",
    properties: { ...properties, time: new Date("2024-03-13T10:21:14Z"), $insert_id: `${name}-${properties.number + 1}` },
  }));
  await promisify(client.import_batch)(past);
  const people = Object.fromEntries(
    ["set", "set_once", "increment", "append", "union", "track_charge", "clear_charges", "unset", "delete_user"].map(
      (call) => [call, promisify(client.people[call].bind(client.people))],
    ),
  );
  await people.set(name, { $email: "mix@shop.example", plan: "pro" });
  await people.set_once(name, { plan: "free" });
  await people.increment(name, { orders: 1 });
  await people.append(name, { seen: "lamp" });
  await people.union(name, { seen: ["lamp"] });
  await people.track_charge(name, 39.5, {});
  await people.unset(name, "old");
  await people.delete_user(name);
  await promisify(client.groups.set.bind(client.groups))("company", name, { size: 4 });
}
