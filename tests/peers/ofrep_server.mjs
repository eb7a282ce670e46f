// @openfeature/server-sdk with @openfeature/ofrep-provider: url, API key, targeting key. Prints one line of JSON.
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const [url, key, user] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(
  new OFREPProvider({ baseUrl: url, headers: [["Authorization", `Bearer ${key}`]] }),
);
const client = OpenFeature.getClient();
const context = { targetingKey: user, device: "phone" };
const answers = {
  theme: await client.getStringDetails("theme", "none", context),
  banner: await client.getBooleanDetails("banner", false, context),
  limit: await client.getNumberDetails("limit", 0, context),
  layout: await client.getObjectDetails("layout", {}, context),
  device: await client.getStringDetails("device", "none", context),
  nothing: await client.getStringDetails("nothing", "mine", context),
  mismatch: await client.getBooleanDetails("theme", true, context),
  keyless: await client.getStringDetails("theme", "none", {}),
};
console.log(JSON.stringify(answers));
await OpenFeature.close();
