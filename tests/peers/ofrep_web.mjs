// @openfeature/web-sdk with @openfeature/ofrep-web-provider, as in a browser: url, a user's own token. Prints the flags
// at first, then a line whenever the provider says that they changed. The stream comes by a small EventSource: Node 20
// has none of its own.
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const [url, token, polls] = process.argv.slice(2);
const statuses = [];
const fetchImplementation = async (input, init) => {
  const answer = await fetch(input, init);
  statuses.push(answer.status);
  return answer;
};

globalThis.EventSource = class extends EventTarget {
  static CLOSED = 2;
  constructor(address) {
    super();
    this.readyState = 0;
    this.stopping = new AbortController();
    this.run(address).catch(() => {
      this.readyState = 2;
      this.dispatchEvent(new Event("error"));
    });
  }
  async run(address) {
    const answer = await fetch(address, { headers: { accept: "text/event-stream" }, signal: this.stopping.signal });
    if (answer.status !== 200) throw new Error(`${answer.status}`);
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
    let text = "";
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
        if (data) this.dispatchEvent(Object.assign(new Event("message"), { data }));
      }
    }
  }
  close() {
    this.readyState = 2;
    this.stopping.abort();
  }
};

const provider = new OFREPWebProvider({
  baseUrl: url,
  fetchImplementation,
  pollInterval: polls ? 200 : 0,
  changeDetection: polls ? "polling" : "sse",
  headers: [["Authorization", `Bearer ${token}`]],
});
await OpenFeature.setContext({ device: "phone" });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
const show = (word) =>
  console.log(
    word,
    JSON.stringify({
      theme: client.getStringDetails("theme", "none"),
      banner: client.getBooleanValue("banner", false),
      device: client.getStringValue("device", "none"),
      nothing: client.getStringDetails("nothing", "mine"),
      statuses,
    }),
  );
client.addHandler(ProviderEvents.ConfigurationChanged, () => show("changed"));
show("ready");
process.stdin.on("data", () => show("asked"));
process.stdin.on("end", () => process.exit(0));
