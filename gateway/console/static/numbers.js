// The documents of queries.js that ask for numbers: KPIs, the funnel, paths, retention.

import { timeZone } from "./format.js";

/** All numbers of the page are of the same time, so that they can be compared. */
export const DAYS = 56;
const RANGE = { last: `${DAYS}d` };

export const numbers = {
  conversion: {
    query: `query PurchaseConversion($key: ID!, $range: RangeInput!) {
  kpi(key: $key) {
    question
    unit
    better
    definition
    target
    thresholds { warning critical }
    result(range: $range) {
      value
      n
      low
      high
      asOf
      steps { key label users }
    }
  }
}`,
    variables: { key: "purchase_conversion", range: RANGE },
  },

  kpis: {
    query: `query Kpis {
  kpis {
    key
    question
    unit
    better
    target
    thresholds { warning critical }
    definition
    status
    statusReason
  }
}`,
    variables: {},
  },

  kpiResult: {
    query: `query KpiResult($key: ID!, $range: RangeInput!) {
  kpi(key: $key) {
    result(range: $range) {
      value
      n
      low
      high
      open
      asOf
      definition
    }
  }
}`,
    // Asked for each KPI by its key.
    variables: { key: "csat", range: RANGE },
  },

  kpiUpdated: {
    field: "kpiUpdated",
    query: `subscription KpiUpdated($keys: [ID!]!, $after: Cursor) {
  kpiUpdated(keys: $keys, after: $after) {
    cursor
    gap { reason missed }
    kpis { key }
  }
}`,
    variables: { keys: [], after: null },
  },

  purchaseFunnel: {
    query: `query PurchaseFunnel($input: FunnelInput!) {
  funnel(input: $input) {
    definition
    asOf
    start
    end
    funnel {
      entered
      converted
      open
      steps {
        number
        label
        reached
        dropped
        open
        ofFirst { value low high }
        ofPrevious { value }
        sincePrevious { p50 }
      }
    }
  }
}`,
    // What the stages of the map begin with, within the time after which it gives a run up.
    variables: {
      input: {
        steps: ["Product List Viewed", "Product Added", "Checkout Started", "Order Completed"].map((event) => ({ event })),
        window: "7d",
        range: RANGE,
      },
    },
  },

  visitPaths: {
    query: `query VisitPaths($input: PathsInput!) {
  paths(input: $input) {
    definition
    asOf
    start
    end
    total
    columns {
      number
      exited
      nodes { label isOther paths }
    }
    links { column source target paths }
  }
}`,
    variables: { input: { anchor: [{ event: "Product List Viewed" }], depth: 4, top: 5, range: RANGE } },
  },

  weeklyRetention: {
    query: `query WeeklyRetention($input: RetentionInput!) {
  retention(input: $input) {
    definition
    asOf
    start
    end
    cohorts {
      start
      size
      cells {
        first
        complete
        share { hits n value low high }
      }
    }
    average { hits n value low high }
  }
}`,
    variables: {
      input: {
        start: [{ event: "Product List Viewed" }],
        back: ["Product List Viewed", "Product Viewed", "Product Added"].map((event) => ({ event })),
        interval: "WEEK",
        buckets: 7,
        timeZone: timeZone(),
        range: RANGE,
      },
    },
  },
};
