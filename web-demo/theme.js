// A classic script in the head, so that the chosen theme is there before the first paint.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem('jobfeed.theme');
  } catch {
    // Storage may be forbidden; the system's theme is as good.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
