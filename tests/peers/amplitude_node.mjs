// Every call of @amplitude/analytics-node: `node amplitude_node.mjs URL WRITE_KEY USER [PATH]`. Fails when an event is dropped.

import { createInstance, Identify, Revenue, Types } from "@amplitude/analytics-node";

const [url, key, user, path = "/2/httpapi"] = process.argv.slice(2);
const client = createInstance();
await client.init(key, {
  serverUrl: url + path,
  flushIntervalMillis: 50,
  minIdLength: 1,
  logLevel: Types.LogLevel.None,
}).promise;

const sent = [
  client.track("Product List Viewed", { category: "lamps" }, { device_id: `${user}-device` }),
  client.track("Logged In", {}, { user_id: user, device_id: `${user}-device`, platform: "iOS", app_version: "2.1" }),
  client.identify(new Identify().set("plan", "pro").setOnce("first", "ad").add("orders", 1).unset("old"), {
    user_id: user,
    device_id: `${user}-phone`,
  }),
  client.identify(new Identify().setOnce("first", "mail"), { user_id: user }),
  client.track("Signed Up", {}, { user_id: user, time: Date.parse("2024-03-13T10:21:14Z"), insert_id: `${user}-1` }),
  client.setGroup("company", "acme", { user_id: user }),
  client.groupIdentify("company", "acme", new Identify().set("size", 4), { user_id: user }),
  client.revenue(new Revenue().setProductId("lamp").setPrice(39.5).setQuantity(2), { user_id: user }),
];
const answers = await Promise.all(sent.map(({ promise }) => promise));
for (const { code, message } of answers) {
  if (code !== 200) throw new Error(`${code}: ${message}`);
}
