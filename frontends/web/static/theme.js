// Before anything is painted: light or dark, as was chosen here, else as the system has it.
(() => {
  try {
    const chosen = localStorage.getItem("salon-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Without storage the system decides.
  }
})();
