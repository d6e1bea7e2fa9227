// The form of the JavaScript: `npx eslint@9.9.1 longlora_edu`. The rules stand here, so that nothing needs to be installed
// beside ESLint itself; readers of the pages need neither.

const browser = [
  "window", "document", "navigator", "location", "history", "performance", "getComputedStyle", "requestAnimationFrame",
  "cancelAnimationFrame", "setTimeout", "clearTimeout", "queueMicrotask", "Blob", "URL", "URLSearchParams", "Worker",
  "MessageChannel", "MutationObserver", "ResizeObserver", "IntersectionObserver", "Event", "TextEncoder", "TextDecoder",
  "atob", "self",
];

export default [
  {
    files: ["longlora_edu/**/*.js"],
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "module",
      globals: Object.fromEntries(browser.map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "consistent-return": "off",
      "default-case-last": "error",
      eqeqeq: "error",
      "for-direction": "error",
      "max-len": ["error", { code: 120, ignoreTemplateLiterals: true, ignoreStrings: true }],
      "no-const-assign": "error",
      "no-constant-condition": ["error", { checkLoops: false }],
      "no-dupe-args": "error",
      "no-dupe-else-if": "error",
      "no-dupe-keys": "error",
      "no-duplicate-imports": "error",
      "no-empty": "error",
      "no-fallthrough": "error",
      "no-func-assign": "error",
      "no-implied-eval": "error",
      "no-import-assign": "error",
      "no-loss-of-precision": "error",
      "no-new-func": "error",
      "no-redeclare": "error",
      "no-self-assign": "error",
      "no-shadow-restricted-names": "error",
      "no-sparse-arrays": "error",
      "no-throw-literal": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unsafe-negation": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-useless-escape": "error",
      "no-var": "error",
      "prefer-const": "error",
      "use-isnan": "error",
      "valid-typeof": "error",
    },
  },
];
