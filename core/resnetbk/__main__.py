from resnetbk.cli import main

main()
