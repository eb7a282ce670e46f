// Every call of posthog-node: `node posthog_node.mjs URL WRITE_KEY USER`. Fails on the first error the SDK reports.

import { PostHog } from "posthog-node";

const [url, key, user] = process.argv.slice(2);
const client = new PostHog(key, { host: url, fetchRetryDelay: 100, disableGeoip: false });
client.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});

client.capture({
  distinctId: `${user}-device`,
  event: "Product List Viewed",
  properties: { category: "lamps", $process_person_profile: false },
});
client.identify({ distinctId: user, properties: { $anon_distinct_id: `${user}-device`, $set: { plan: "pro" } } });
client.capture({ distinctId: user, event: "Product Added", properties: { price: 39.5, "a.b": 1 } });
client.capture({
  distinctId: user,
  event: "Signed Up",
  timestamp: new Date("2024-03-13T10:21:14Z"),
  uuid: "018e377c-0d90-7000-8000-000000000001",
});
client.capture({ distinctId: user, event: "$pageview", properties: { $current_url: "https://x/", title: "Lamps" } });
client.alias({ distinctId: user, alias: `${user}-phone` });
client.groupIdentify({ groupType: "company", groupKey: "acme", properties: { size: 4 }, distinctId: user });
client.groupIdentify({ groupType: "company", groupKey: "solo" });
client.setPersonProperties({ distinctId: user, propertiesOnce: { plan: "free", first: "ad" } });
client.unsetPersonProperties({ distinctId: user, properties: ["old"] });
await client.captureImmediate({ distinctId: user, event: "At Once" });
const flags = await client.getAllFlags(user);
if (Object.keys(flags).length) throw new Error("there are flags");
await client.shutdown();
