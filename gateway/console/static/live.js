// Subscriptions: graphql-transport-ws over one socket. After a break each goes on behind its last cursor, so that
// nothing is missing; what the gateway can no longer give it says itself, in `gap`.

const RETRY_MS = [300, 700, 1500, 3000, 5000];
const PING_MS = 10_000;
const DENIED = 4403;

export class Live {
  #token;
  #onState;
  #socket = null;
  #subscriptions = new Map();
  #failures = 0;
  #unanswered = false;
  #timer = 0;
  #pings;

  /** `onState("connecting" | "live" | "lost" | "denied")`. */
  constructor(token, onState) {
    this.#token = token;
    this.#onState = onState;
    this.#pings = setInterval(() => this.#ping(), PING_MS);
    // Waiting out the pause makes no sense once the network is known to be back.
    addEventListener("online", () => this.#timer && this.#connect());
    this.#connect();
  }

  /** Calls `onChange` with each message of a subscription from queries.js; `onProblem` when it is refused. */
  subscribe(operation, onChange, onProblem = console.warn) {
    const id = String(this.#subscriptions.size + 1);
    this.#subscriptions.set(id, { operation, onChange, onProblem, cursor: null });
    if (this.#socket?.acknowledged) this.#begin(id);
  }

  /** Signs in anew, with the token of now; each subscription goes on behind its last cursor. */
  reconnect() {
    const socket = this.#socket;
    if (socket === null) return; // it is about to
    this.#connect();
    socket.close();
  }

  /** Ends it for good. */
  close() {
    clearInterval(this.#pings);
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#subscriptions.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const address = new URL("/graphql", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, "graphql-transport-ws");
    this.#socket = socket;
    this.#unanswered = false;
    socket.onopen = () => this.#send({ type: "connection_init", payload: { authorization: `Bearer ${this.#token}` } });
    socket.onmessage = ({ data }) => socket === this.#socket && this.#take(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.#socket && this.#closed(code);
  }

  #closed(code) {
    this.#socket = null;
    if (code === DENIED) {
      this.#onState("denied");
      return;
    }
    this.#onState("lost");
    const pause = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    // Spread out, so that a restarted gateway is not met by every page at once.
    this.#timer = setTimeout(() => this.#connect(), pause * (0.8 + Math.random() * 0.4));
  }

  #take(message) {
    this.#unanswered = false;
    const subscription = this.#subscriptions.get(message.id);
    if (message.type === "connection_ack") {
      this.#socket.acknowledged = true;
      this.#failures = 0;
      for (const id of this.#subscriptions.keys()) this.#begin(id);
      this.#onState("live");
    } else if (message.type === "ping") {
      this.#send({ type: "pong" });
    } else if (message.type === "next" && subscription) {
      this.#next(subscription, message.payload);
    } else if (message.type === "error" && subscription) {
      this.#refused(message.id, subscription, message.payload[0]);
    } else if (message.type === "complete" && subscription) {
      // These subscriptions have no end: the gateway is stopping.
      this.#socket.close();
    }
  }

  #next(subscription, { data, errors }) {
    const change = data?.[subscription.operation.field];
    if (change) {
      subscription.cursor = change.cursor;
      subscription.onChange(change);
    } else if (errors?.length) {
      subscription.onProblem(errors[0].message);
    }
  }

  #refused(id, subscription, error) {
    const code = error.extensions?.code;
    if (code === "UNAUTHENTICATED") {
      this.#onState("denied");
    } else if (code === "FORBIDDEN") {
      // The others may well be open to this credential.
      subscription.onProblem(error.message);
    } else if (subscription.cursor) {
      // The position is of no use here, for example to a gateway with another database: start anew, and say so.
      subscription.cursor = null;
      subscription.onChange({ gap: { reason: "UNKNOWN", missed: null } });
      this.#begin(id);
    } else {
      subscription.onProblem(error.message);
    }
  }

  #begin(id) {
    const { operation, cursor } = this.#subscriptions.get(id);
    const payload = { query: operation.query, variables: { ...operation.variables, after: cursor } };
    this.#send({ id, type: "subscribe", payload });
  }

  // A network that has gone away closes nothing: a ping that stays without any answer does. Counting pings rather than
  // seconds holds in hidden tabs too, where timers are slowed down.
  #ping() {
    if (!this.#socket?.acknowledged) return;
    if (this.#unanswered) {
      this.#socket.close();
      this.#closed(0);
    } else {
      this.#unanswered = true;
      this.#send({ type: "ping" });
    }
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }
}
