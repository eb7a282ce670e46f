// Every document this page sends, with its variables; numbers.js has those that ask for numbers. "Copy as GraphQL" shows
// these very objects, and api.js and live.js send them: what is copied is what feeds the tile.

import { numbers } from "./numbers.js";

const MAP_KEY = "purchase";

const documents = {
  purchaseMap: {
    query: `query PurchaseMap($key: ID!) {
  journeyMap(key: $key) {
    name
    persona
    goal
    painPoints
    stages {
      key
      label
      emotion
      completes
      users
      reached
      touchpoints { label channel }
    }
  }
}`,
    variables: { key: MAP_KEY },
  },

  journeyChanged: {
    field: "journeyChanged",
    query: `subscription JourneyChanged($map: ID!, $after: Cursor) {
  journeyChanged(map: $map, after: $after) {
    cursor
    gap { reason missed }
    at
    status
    from { key }
    to { key }
    user { id }
  }
}`,
    variables: { map: MAP_KEY, after: null },
  },

  lastEvents: {
    query: `query LastEvents($first: Int!) {
  events(first: $first) {
    nodes { id name at user { id } }
  }
}`,
    variables: { first: 20 },
  },

  eventStored: {
    field: "eventStored",
    query: `subscription EventStored($after: Cursor) {
  eventStored(after: $after) {
    cursor
    gap { reason missed }
    event { id name at user { id } }
  }
}`,
    variables: { after: null },
  },

  track: {
    query: `mutation Track($input: TrackInput!) {
  track(input: $input) {
    eventId
    verdict
    errors { message hint }
  }
}`,
    // What a click sends; the shop fills in its own event and properties.
    variables: { input: { event: "Product List Viewed", properties: { category: "All" } } },
  },

  myJourney: {
    query: `query MyJourney($map: ID!) {
  me {
    id
    journey(map: $map) {
      id
      run
      status
      stage { key label }
      because { text }
      nextStages { key label }
      stageVisits {
        stage { key label }
        enteredAt
        because { text }
      }
    }
  }
}`,
    variables: { map: MAP_KEY },
  },
};

// Names let the page, and a test, find the operation behind a disclosure.
export const operations = Object.fromEntries(
  Object.entries({ ...documents, ...numbers }).map(([name, operation]) => [name, Object.freeze({ name, ...operation })]),
);
