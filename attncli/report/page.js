const claims = [...document.querySelectorAll('.claim')], groups = [...document.querySelectorAll('.group')];
const buttons = [...document.querySelectorAll('.chips button')], field = document.querySelector('.chips input');
let wanted = '';
function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const c of claims) {
    const text = c.textContent.toLowerCase();
    c.hidden = (wanted && !c.classList.contains(wanted)) || !words.every(w => text.includes(w));
  }
  for (const g of groups) g.hidden = ![...g.querySelectorAll('.claim')].some(c => !c.hidden);
  for (const b of buttons) b.setAttribute('aria-pressed', String(b.value === wanted));
}
for (const b of buttons) b.onclick = () => { wanted = wanted === b.value ? '' : b.value; show(); };
field.oninput = show;
document.querySelector('.chips').hidden = false;
