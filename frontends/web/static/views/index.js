// The views of the page. To add one: a module in this folder whose default export is a component, and a line here.

/**
 * @typedef {{
 *   name: string, path: string, key: string, icon: string, load: () => Promise<{default: any}>,
 *   operators?: boolean, feature?: string, hidden?: boolean, barless?: boolean
 * }} View
 *   key: takes one there; operators: shown to them alone; feature: of the session, without which it is not shown;
 *   hidden: not in the navigation; barless: without the imagine bar
 */

/** @type {View[]} */
export const VIEWS = [
  { name: "Create", path: "create", key: "c", icon: "create", load: () => import("./create.js") },
  { name: "Chat", path: "chat", key: "h", icon: "chat", feature: "chat", barless: true, load: () => import("./chat.js") },
  { name: "Personalize", path: "personalize", key: "p", icon: "heart", feature: "taste", load: () => import("./personalize.js") },
  { name: "Editor", path: "edit", key: "e", icon: "edit", barless: true, load: () => import("./edit.js") },
  { name: "Organize", path: "organize", key: "o", icon: "folder", feature: "organize", barless: true, load: () => import("./organize.js") },
  { name: "Explore", path: "explore", key: "x", icon: "globe", feature: "organize", barless: true, load: () => import("./explore.js") },
  { name: "Operate", path: "operate", key: "s", icon: "gauge", operators: true, barless: true, load: () => import("./operate.js") },
];
