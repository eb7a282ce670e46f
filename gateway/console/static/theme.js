// Light or dark: as the system says, or as chosen here. The choice is all this page keeps beyond the tab.

const KEY = "theme";
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : null;
}

function apply() {
  if (chosen()) root.dataset.theme = chosen();
  else delete root.dataset.theme;
}

apply();

/** Lets a button switch the theme. */
export function themeButton(button) {
  const show = () => {
    const isDark = (chosen() ?? (dark.matches ? "dark" : "light")) === "dark";
    button.textContent = isDark ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark ? "Switch to the light theme" : "Switch to the dark theme");
    button.onclick = () => {
      localStorage.setItem(KEY, isDark ? "light" : "dark");
      apply();
      show();
    };
  };
  dark.addEventListener("change", show);
  show();
}
