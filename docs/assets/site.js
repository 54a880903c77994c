// Names that Material leaves out, so that screen readers have something to say.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
for (const [id, name] of [["__drawer", "Navigation"], ["__search", "Search"]])
  document.getElementById(id)?.setAttribute("aria-label", name)
document.querySelectorAll(".md-nav__toggle").forEach(input => {
  const label = document.getElementById(input.id + "_label") ?? document.querySelector(`label[for="${input.id}"]`)
  input.setAttribute("aria-label", label?.textContent.trim() || "Contents")
})
document.querySelectorAll(".md-option[aria-hidden]").forEach(input => input.removeAttribute("aria-hidden"))
document.querySelectorAll(".md-typeset pre, .md-typeset__scrollwrap").forEach(box => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0 // what scrolls sideways must scroll by keyboard
})

// Material wraps each copy button in a <nav>, as it comes into view: a page with forty fences is not forty menus.
new MutationObserver(() => {
  document.querySelectorAll(".md-code__nav:not([role])").forEach(nav => nav.setAttribute("role", "none"))
}).observe(document.body, { childList: true, subtree: true })
