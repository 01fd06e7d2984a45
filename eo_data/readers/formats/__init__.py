"""What files hold and say of themselves, by kind of file: pixels as stored, and facts."""
