// Many wishes, few runs.

/** A function that has `run` called soon, but never twice at once and at most once in `ms`. `run` handles its errors. */
export function coalesced(run, ms) {
  let timer = 0;
  let running = false;
  let again = false;
  let last = -Infinity;

  async function start() {
    timer = 0;
    running = true;
    again = false;
    last = performance.now();
    try {
      await run();
    } finally {
      running = false;
      if (again) wish();
    }
  }

  function wish() {
    if (running) again = true;
    else if (!timer) timer = setTimeout(start, Math.max(0, last + ms - performance.now()));
  }

  return wish;
}
