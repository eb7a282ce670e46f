// What nobody looks at is not asked for: a question may read many events.

/** A function that has `run` called while `element` is on or near the screen; a wish made meanwhile is kept until then. */
export function whileSeen(element, run) {
  let near = false;
  let wished = false;

  function go() {
    if (!wished || !near || document.hidden) return;
    wished = false;
    run();
  }

  new IntersectionObserver((entries) => {
    near = entries.at(-1).isIntersecting;
    go();
  }, { rootMargin: "50%" }).observe(element);
  document.addEventListener("visibilitychange", go);
  return () => {
    wished = true;
    go();
  };
}
