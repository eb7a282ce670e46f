// Every call of @segment/analytics-node, once: node segment_node.mjs GATEWAY WRITE_KEY
import { Analytics } from "@segment/analytics-node";

const [host, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushInterval: 50 });
const failures = [];
analytics.on("error", (error) => failures.push(error));

analytics.identify({ userId: "ada", anonymousId: "anon-1", traits: { plan: "pro" } });
analytics.track({ userId: "ada", event: "Product Added", properties: { price: 39.5 } });
analytics.page({ userId: "ada", category: "Docs", name: "Home", properties: { url: "https://shop.example/" } });
analytics.screen({ userId: "ada", name: "Cart", properties: { items: 2 } });
analytics.group({ userId: "ada", groupId: "team-7", traits: { size: 4 } });
analytics.alias({ previousId: "anon-2", userId: "ada" });
analytics.track({ anonymousId: "anon-3", event: "Ünïcode ✓", properties: { "a.b": 1, $odd: "\"" } });
await analytics.closeAndFlush({ timeout: 60_000 });
if (failures.length) throw new Error(JSON.stringify(failures));
