// The page: signs in, puts the areas together, and passes live changes to them.

import { Announcer } from "./announce.js";
import { Banner } from "./banner.js";
import { FeedPanel } from "./feed.js";
import { FunnelPanel } from "./funnel.js";
import { KpiPanel } from "./kpi.js";
import { KpisPanel } from "./kpis.js";
import { Live } from "./live.js";
import { MapPanel } from "./map.js";
import { PathsPanel } from "./paths.js";
import { operations } from "./queries.js";
import { RetentionPanel } from "./retention.js";
import { forgetSession, openSession } from "./session.js";
import { themeButton } from "./theme.js";
import { VisitorPanel } from "./visitor-panel.js";
import { welcome } from "./welcome.js";

const element = (id) => document.getElementById(id);

const NO_ADDRESS = {
  title: "This page needs a fresh address",
  text: "It opens with a code that is good for one time, and this address has none that still opens. For a new one:",
};
const EXPIRED = {
  title: "The page has signed out",
  text: "For safety it does so by itself after half a day. To go on:",
};

// Renewed after this share of a token's time, so that a gateway that is away for a while costs nothing.
const RENEW_AFTER = 0.75;
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1; // a longer one would end at once
const RENEW_AGAIN_MS = 20_000;

const banner = new Banner(element("live"), element("live-text"), element("banner"));

themeButton(element("theme"));
// A new address pasted over the old one changes only what is behind the #, which loads nothing by itself.
addEventListener("hashchange", () => location.hash.startsWith("#code=") && location.reload());
start();

async function start() {
  element("welcome").hidden = true;
  let session;
  try {
    session = await openSession();
  } catch (problem) {
    signedOut({ title: "The page could not sign in", text: problem.words, again: start });
    return;
  }
  if (session === null) signedOut(NO_ADDRESS);
  else open(session);
}

function signedOut(why) {
  banner.state("denied");
  element("areas").hidden = true;
  welcome(element("welcome"), why);
}

function open(session) {
  element("areas").hidden = false;
  const announcer = new Announcer(element("spoken"));
  const map = new MapPanel(element("map"), session);
  const kpi = new KpiPanel(element("kpi"), session);
  const feed = new FeedPanel(element("feed"), session);
  const visitor = new VisitorPanel(element("visitor"), session, {
    onUser: (id) => [map, feed].forEach((area) => area.ownUser(id)),
    announcer,
  });

  const questions = [
    new FunnelPanel(element("funnel"), session),
    new RetentionPanel(element("retention"), session),
    new PathsPanel(element("paths"), session),
  ];
  const numbers = () => [kpi, kpis, ...questions].forEach((area) => area.refresh());
  const lose = (gap) => {
    banner.gap(gap);
    map.refresh();
    feed.load();
    numbers();
  };
  let broken = false;
  const live = new Live(session, (state) => {
    banner.state(state);
    if (state === "denied") end();
    if (state === "lost" && !broken) announcer.own("Live updates are lost; trying again");
    // What happened meanwhile comes by the subscriptions; counts and numbers are asked for.
    if (state === "live" && broken) {
      map.refresh();
      numbers();
    }
    broken = state === "lost";
  });
  const kpis = new KpisPanel(element("kpis"), session, { live, announcer, beside: kpi.key });

  live.subscribe(operations.journeyChanged, (change) => {
    if (change.gap) lose(change.gap);
    if (!change.at) return;
    map.changed(change);
    kpi.refresh();
    announcer.moved(change.status === "COMPLETED");
  });
  live.subscribe(operations.eventStored, (change) => {
    if (change.gap) lose(change.gap);
    feed.stored(change);
    questions.forEach((area) => area.refresh());
  });

  let timer = 0;

  function end() {
    clearTimeout(timer);
    live.close();
    visitor.close();
    forgetSession();
    signedOut(EXPIRED);
  }

  async function renew() {
    try {
      await session.renew();
      live.reconnect();
      renewLater((session.expiresAt - Date.now()) * RENEW_AFTER);
    } catch (problem) {
      if (problem.denied || session.expiresAt < Date.now()) end();
      else renewLater(RENEW_AGAIN_MS);
    }
  }

  function renewLater(pause) {
    timer = setTimeout(renew, Math.min(Math.max(pause, 0), LONGEST_TIMEOUT_MS));
  }

  renewLater((session.expiresAt - Date.now()) * RENEW_AFTER);
}
