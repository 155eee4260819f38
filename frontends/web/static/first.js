// Before anything is painted: light or dark, as was chosen here, else as the system has it; and the modules of the view in
// the address come along with all others, not after them.
(() => {
  try {
    const chosen = localStorage.getItem("salon-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Without storage the system decides.
  }
  /** @type {Record<string, string[]>} */
  const views = {
    create: ["views/create", "components/jobcard"],
    chat: ["views/chat", "components/jobcard"],
    personalize: ["views/personalize", "lib/taste", "components/grids", "components/likes", "components/moodboards", "components/profiles", "lib/organize", "components/gallery", "components/drop", "components/virtual"],
    edit: ["views/edit", "lib/editing", "components/canvas", "components/compare", "components/drop"],
    organize: ["views/organize", "lib/organize", "components/gallery", "components/virtual"],
    explore: ["views/explore", "lib/organize", "components/gallery", "components/virtual"],
    operate: ["views/operate", "lib/accounts"],
  };
  for (const name of views[location.hash.split("/")[1] || "create"] ?? []) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.href = `web/${name}.js`;
    document.head.append(link);
  }
})();
