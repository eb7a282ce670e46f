// Many wishes, few runs.

/**
 * A function that has `run` called soon, but never twice at once and at most once in `ms`, or in `rest` times as long as
 * it took. `run` handles its errors.
 */
export function coalesced(run, ms, rest = 0) {
  let timer = 0;
  let running = false;
  let again = false;
  let next = -Infinity;

  async function start() {
    timer = 0;
    running = true;
    again = false;
    const began = performance.now();
    try {
      await run();
    } finally {
      running = false;
      next = Math.max(began + ms, performance.now() + rest * (performance.now() - began));
      if (again) wish();
    }
  }

  function wish() {
    if (running) again = true;
    else if (!timer) timer = setTimeout(start, Math.max(0, next - performance.now()));
  }

  return wish;
}
