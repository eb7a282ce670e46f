// Every call of @rudderstack/rudder-sdk-node, once: node rudder_node.mjs GATEWAY WRITE_KEY
import RudderAnalytics from "@rudderstack/rudder-sdk-node";

const [dataPlaneUrl, writeKey] = process.argv.slice(2);
const analytics = new RudderAnalytics(writeKey, {
  dataPlaneUrl,
  flushAt: 100,
  errorHandler: (error) => {
    console.error(String(error));
    process.exitCode = 1;
  },
});

analytics.identify({ userId: "ada", anonymousId: "anon-1", traits: { plan: "pro" } });
analytics.track({ userId: "ada", event: "Product Added", properties: { price: 39.5 } });
analytics.page({ userId: "ada", category: "Docs", name: "Home", properties: { url: "https://shop.example/" } });
analytics.screen({ userId: "ada", name: "Cart", properties: { items: 2 } });
analytics.group({ userId: "ada", groupId: "team-7", traits: { size: 4 } });
analytics.alias({ previousId: "anon-2", userId: "ada" });
analytics.track({ anonymousId: "anon-3", event: "Ünïcode ✓", properties: { "a.b": 1, $odd: "\"" } });
await analytics.flush();
